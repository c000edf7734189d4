"""What a run will take, before it is run: tokens, time, memory and money, from its real prompts."""
