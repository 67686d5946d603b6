"""The machinery of Reprise: renders a dvc.yaml as an Airflow DAG and records every run. Knows nothing of faces."""
