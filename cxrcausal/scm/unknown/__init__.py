"""What is not known of a row: its posterior, its completions, and what the known cells say."""
