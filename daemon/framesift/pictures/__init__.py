"""Pictures as files: reading what others encoded, and the one place where framesift encodes pixels itself."""
