"""The pages of the dashboard. They render what the modules beside them answer, and query nothing on their own."""
