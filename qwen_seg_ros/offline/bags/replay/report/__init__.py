"""What a replay found, as one HTML file to look at: pictures, a timeline, and clouds that can be turned."""
