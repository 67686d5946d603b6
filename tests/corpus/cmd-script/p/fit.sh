cat a.txt a.txt > o.txt
