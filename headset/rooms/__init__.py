"""People who meet in a room: end-to-end encrypted codes and sound over a relay (docs/rooms.md)."""
