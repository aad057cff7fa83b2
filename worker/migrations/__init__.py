"""The stores' schemas: Alembic for Postgres, numbered statements for ClickHouse."""
