"""A pipeline as an Airflow DAG: tasks, schedule, pools, assets, notifications."""
