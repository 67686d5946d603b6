"""The face-recognition pipeline as a DAG. Its stages stand in pipelines/faces/dvc.yaml."""

from reprise.dag.render import pipeline_dag

# A run for each week, of what had arrived by its end; or schedule=when_new_data(at_most="daily") of reprise.dag.schedule.
# On a laptop only backfills use it: REPRISE_SCHEDULE=on makes it run by itself (docs/schedule.md).
dag = pipeline_dag("pipelines/faces", schedule="0 0 * * 1")
