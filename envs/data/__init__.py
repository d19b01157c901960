"""What is learnt from: texts, images and drawn scenes, and the cache of what was made of them."""
