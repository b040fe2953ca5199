"""What makes the course a course: figures, panels, the studio, checks."""
