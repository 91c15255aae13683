"""The one database layer: schema, the group-commit writer, readers, small tables, backup. Knows no mail."""
