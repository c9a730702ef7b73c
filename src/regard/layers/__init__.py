"""The parts that models are made of: fully connected, recurrent, embedding, positions, add & norm."""
