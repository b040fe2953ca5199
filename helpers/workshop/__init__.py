"""The commands that rebuild and measure what the course ships."""
