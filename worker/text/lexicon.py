# ruff: noqa: SIM905  lists of words read better as text
"""The words of the corpus: plain lower-case English, each in exactly one role."""

from __future__ import annotations

from typing import Final

FIRST_NAMES: Final = tuple(
    """
    adam agnes albert alice amanda andrew anna anthony arthur barbara benjamin bernard bridget
    bruce camilla carlos caroline charles charlotte clara claude daniel david deborah dennis diana
    dominic donald dorothy edgar edith edward eleanor emily emma eric ernest esther eugene felix
    fiona florence francis gabriel george gerald gloria gregory hannah harold harriet helen henry
    howard hugo irene isaac isabel jacob james jane janet jeremy joan joseph julia karen kenneth
    laura lawrence leonard linda louis lucas lydia malcolm margaret maria martha martin matthew
    michael miriam monica nancy naomi nicholas nora oliver oscar pamela patricia paul peter philip
    """.split()
)
LAST_NAMES: Final = tuple(
    """
    abbott adams aldridge allen anderson armstrong atkinson austin bailey barnes barrett bates
    bennett benson bishop blackwell boyd bradley brennan briggs bryant burgess burton byrne
    caldwell cameron campbell carlson carpenter carroll chandler chapman clayton coleman collins
    cooper crawford cummings curtis dalton daniels davidson dawson dixon donovan douglas doyle
    dudley duncan edwards elliott ellis evans farrell ferguson fitzgerald fletcher foster fraser
    freeman fuller gallagher gardner garrett gibson gilbert goodwin gordon graham griffin hamilton
    hammond hansen harding harper harrison hartley hawkins henderson hoffman holland hopkins
    houston hudson hughes jackson jefferson jenkins jennings jensen johnson johnston kelley kennedy
    lambert larson lawson leblanc lindsay livingston mackenzie maxwell mccarthy mcdonald mendoza
    miller mitchell montgomery morgan morrison murphy nelson newton nichols nolan norris osborne
    parker patterson pearson perkins peterson porter powell preston quinn reynolds sanders vaughan
    """.split()
)

#: Nouns, transitive verbs, adjectives and places by topic; plurals and third persons end in "s".
NOUNS: Final = (
    "farmer horse goat sheepdog lamb tractor plough wagon rooster donkey shepherd foal".split(),
    "sailor captain ship anchor boat pilot whale dolphin gull lantern rope harpoon".split(),
    "doctor nurse patient surgeon needle bandage pill chart monitor splint stretcher vial".split(),
    "teacher pupil lesson pencil poem essay riddle globe ruler textbook tutor notebook".split(),
    "cook waiter kettle spoon sauce onion carrot pancake guest oven recipe pepper".split(),
    "soldier general spear castle helmet banner cannon drummer archer scout shield sword".split(),
    "singer dancer violin trumpet painter sculptor actor puppet mask curtain flute poet".split(),
    "engineer mechanic engine wheel hammer robot motor lever gear spring valve sensor".split(),
)
VERBS: Final = (
    "feed chase lead follow milk groom".split(),
    "spot tow steer load haul rescue".split(),
    "treat inspect heal examine prescribe weigh".split(),
    "explain quote recite praise correct solve".split(),
    "serve stir taste season boil order".split(),
    "defend attack guard capture salute surround".split(),
    "admire imitate applaud portray depict inspire".split(),
    "repair build adjust replace test design".split(),
)
ADJECTIVES: Final = (
    "muddy stubborn hungry sturdy gentle woolly".split(),
    "salty brave weary windswept lost wooden".split(),
    "careful pale sterile tired calm feverish".split(),
    "clever strict curious quiet lazy famous".split(),
    "spicy warm sweet generous fresh crispy".split(),
    "loyal fierce mighty rusty ancient fearless".split(),
    "graceful elegant dramatic shy colourful talented".split(),
    "noisy precise modern broken heavy efficient".split(),
)
PLACES: Final = (
    "barn meadow stable orchard".split(),
    "harbour bay lighthouse dock".split(),
    "hospital clinic ward pharmacy".split(),
    "school library classroom academy".split(),
    "kitchen bakery restaurant market".split(),
    "fortress camp tower battlefield".split(),
    "theatre gallery studio stage".split(),
    "factory workshop garage laboratory".split(),
)
ADVERBS: Final = tuple(
    """
    slowly quickly often rarely gladly secretly proudly calmly always never sometimes suddenly
    politely bravely carefully loudly
    """.split()
)
PREPOSITIONS: Final = ("in", "near", "behind", "outside")
SINGULAR_DETERMINERS: Final = ("the", "this", "every", "each")
PLURAL_DETERMINERS: Final = ("the", "these", "many", "some")
FUNCTION_WORDS: Final = ("and", "when", "because", "of", "is", "are", "code", "colours", ".")

DIGITS: Final = tuple("zero one two three four five six seven eight nine".split())
COLOURS: Final = tuple(
    """
    red blue green gold silver black white purple orange yellow pink brown violet scarlet ivory
    turquoise
    """.split()
)

UNKNOWN: Final = "<unk>"
END: Final = "<eos>"
