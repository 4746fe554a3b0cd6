//! What the drivers write into memory and queues, decoded back: nothing in it is wrong.
