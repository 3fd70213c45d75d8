"""Speaking and listening: devices, engines, and the way between them and a conversation."""
