// Unreal Header Tool makes the real one.
