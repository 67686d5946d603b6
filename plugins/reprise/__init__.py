"""The machinery of Reprise: renders a dvc.yaml as an Airflow DAG and records every run. Knows nothing of faces.

Which file to open, in the order of a run's life (each says in its first line what it is):

read dvc.yaml       pipeline, manifest, params
DAG                 render, schedule, pools, assets, notify, tries
open a run          opening, plan, inbox, stores, filelist, connection, relisted, champion
one stage           stage_operator, workspace, memo, notes, sandbox, source, checkpoints, output, containers, janitor
while it runs       live, points, usage, tracking, outbox, unsent, model_logging, tensorboard, wandb_run
record it           recording, records, gate, results
inside Airflow      listener, links, web, rundata, runview
for people          __main__, follow, backfill, history, compare, comparing, curves, spans, tools, notebook
this machine        services, image, buildhost, airflow_api, git, settings
between all         messages, errors

Doors, each the only one to what it opens: workspace (DVC), git, tracking (MLflow), airflow_api (Airflow's REST API).
"""
