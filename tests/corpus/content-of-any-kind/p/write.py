open("b.bin", "wb").write(bytes(range(256)))
open("crlf.txt", "wb").write("é\r\n".encode())
