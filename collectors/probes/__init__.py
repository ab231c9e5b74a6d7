"""Probes: what an outsider sees of a service, under the names of blackbox_exporter."""
