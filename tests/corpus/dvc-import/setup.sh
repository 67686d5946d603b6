dvc import-url world.txt p/taken.txt
