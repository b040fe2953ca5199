"""What the recipe of ``pocket`` needs beside the loop."""
