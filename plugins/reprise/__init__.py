"""The machinery of Reprise: renders a dvc.yaml as an Airflow DAG and records every run. Knows nothing of faces.

Which folder to open, in the order of a run's life; each file in it says in its first line what it is:

pipeline    dvc.yaml and params.yaml, read and checked
dag         the pipeline as an Airflow DAG
sources     the inbox: folder, object store, list
run         open a run, plan it; record it, judge its model
stage       one stage as one task
tracking    MLflow, TensorBoard and W&B, while it runs and after
ui          pages and links inside Airflow
commands    what people type, behind __main__
machine     services and image of this machine

Doors, each the only one to what it opens: workspace and lock (DVC), git, airflow_api (Airflow's REST API),
tracking.mlflow_server (MLflow), untrusted (what a container wrote). Between all: settings, folders, messages,
errors. For notebooks: notebook.
"""
