"""Networks in ONNX files: their input, their output heads, and how pictures are prepared for them."""
