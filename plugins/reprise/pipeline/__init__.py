"""What a pipeline is: dvc.yaml and params.yaml, read and checked. No Airflow here."""
