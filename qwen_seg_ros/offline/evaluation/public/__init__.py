"""Evaluation over public sets in the formats in which they are published; docs/public_data.md says where each file belongs."""
