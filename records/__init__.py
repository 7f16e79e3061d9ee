"""The record store: what the server must not forget. SQLAlchemy Core over SQLite."""
