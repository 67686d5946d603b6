"""What a run tells while it goes: MLflow, TensorBoard, Weights & Biases."""
