"""Trains the small generator that ships: data, net, training, distillation, evaluation, export."""
