"""The Grafana dashboard: its rows and panels, and the script that writes it."""
