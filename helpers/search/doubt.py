"""Does the best picture fit the words, or does nothing here fit well?"""

FITS = {"pocket": 0.26}  # of the models that were measured, see ``fits``
DOUBT = "perhaps nothing here fits well"


def fits(model, score: float) -> bool | None:
    """Does the best picture fit the words well? False is a doubt, not a proof.

    model: a ready CLIP; score: the cosine of the best picture with words alone. None:
    nobody measured where the cosines of this model part.

    The cut of ``pocket`` was chosen so that it doubts about 1 % of right answers
    on 500 drawings of train, asked by their own names, with and without all pictures
    that share a word with the name. How often it errs depends on the collection's size
    (``python -m helpers.workshop.evaluate fits``):

    ==================================  ===========  ============  ============
    asked of                            12 pictures  100 pictures  500 pictures
    ==================================  ===========  ============  ============
    train: right, and doubted                   0 %           0 %           0 %
    train: not there, and not doubted           1 %          13 %          44 %
    unseen artist: right, doubted              38 %          26 %          15 %
    unseen artist: not there, passed            1 %           9 %          30 %
    photographs: right, doubted                28 %          11 %           3 %
    photographs: not there, passed             15 %          53 %          80 %
    ==================================  ===========  ============  ============

    ``scratch`` learnt the drawings of train by heart, so they say nothing about others.
    """
    return score >= FITS[model.name] if model.name in FITS else None
