"""The class names of COCO (Lin et al., Microsoft COCO, 2014), for networks trained on it that do not contain them."""

from __future__ import annotations

# By class id, as most networks count them: 0 to 79.
NAMES = tuple(
    """
person
bicycle
car
motorcycle
airplane
bus
train
truck
boat
traffic light
fire hydrant
stop sign
parking meter
bench
bird
cat
dog
horse
sheep
cow
elephant
bear
zebra
giraffe
backpack
umbrella
handbag
tie
suitcase
frisbee
skis
snowboard
sports ball
kite
baseball bat
baseball glove
skateboard
surfboard
tennis racket
bottle
wine glass
cup
fork
knife
spoon
bowl
banana
apple
sandwich
orange
broccoli
carrot
hot dog
pizza
donut
cake
chair
couch
potted plant
bed
dining table
toilet
tv
laptop
mouse
remote
keyboard
cell phone
microwave
oven
toaster
sink
refrigerator
book
clock
vase
scissors
teddy bear
hair drier
toothbrush
""".strip().splitlines()
)
_UNUSED_IDS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
_IDS = [number for number in range(1, 91) if number not in _UNUSED_IDS]
# By category id, as COCO's files and some networks count them: 1 to 90, some of which are unused.
NAMES_BY_CATEGORY_ID = {number: f"class_{number}" for number in range(1, 91)} | dict(zip(_IDS, NAMES, strict=True))
