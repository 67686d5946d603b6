"""Reprise inside Airflow: the page of a run, and the links that lead there."""
