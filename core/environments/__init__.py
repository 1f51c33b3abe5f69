"""What a payload runs in: built once, shipped once, checked, and entered where the work is done."""
