"""What others have published, as they state it; the comment of each file says where it is from."""
