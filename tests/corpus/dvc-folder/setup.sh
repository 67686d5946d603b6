mkdir -p p/data/sub
echo a > p/data/a
echo b > p/data/sub/b
dvc add p/data
