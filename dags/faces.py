"""The face-recognition pipeline as a DAG. Its stages stand in pipelines/faces/dvc.yaml."""

from reprise.render import pipeline_dag

dag = pipeline_dag("pipelines/faces")
