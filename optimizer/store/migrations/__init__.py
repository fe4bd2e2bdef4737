"""How the tables came to be: alembic runs these when a store is opened."""
