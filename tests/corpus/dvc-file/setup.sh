echo tracked > p/data.txt
dvc add p/data.txt
