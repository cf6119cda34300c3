"""How the record behaves when it is large: plans of queries, times of pages, sizes of tables. On PostgreSQL only."""
