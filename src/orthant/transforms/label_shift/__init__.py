"""Class mixes that differ between sources while each class looks alike: classes found, and probabilities corrected.

Vectors with a source each, or probabilities of a classifier, enter; classes, mixes and corrected probabilities leave.
Never trains the classifier that is corrected and never looks at texts.
Start with `latent` where there are no labels at all, with `correction` where a classifier meets another mix.
"""
