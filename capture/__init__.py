"""Where frames come from: webcams, video files and the synthetic person."""
