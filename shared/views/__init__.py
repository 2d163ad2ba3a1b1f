"""Read models that one service offers another: a versioned document contract that the owner's tests prove."""
