import sys

open("o.txt", "w").write(open(sys.argv[1]).read())
