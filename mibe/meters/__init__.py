"""What a process takes of its machine: memory, device by device, and energy. Nothing here is guessed."""
