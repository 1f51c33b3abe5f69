"""Prefect flows: what a person deploys. No type is defined here: Prefect loads a flow's file under another name."""
