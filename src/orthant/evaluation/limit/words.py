"""Words that generated tasks are made of: things that people like, and names.

Every thing is one word, and no two of them share a stem with each other or with a name, so that a match of words is
never ambiguous.
"""

from __future__ import annotations

__all__ = ["FIRST_NAMES", "ITEMS", "LAST_NAMES"]

_ITEMS = """
abacuses acorns acrobats adobe agates alarms albums alcoves algebra almanacs almonds aloe alphabets altimeters amber
amethysts amphitheatres anagrams anchors anemones angelfish anklets anoraks anteaters antelopes anthems anthologies
antlers anvils apples apricots aprons aquariums aqueducts arcades archery arches archipelagos archives armadillos
armchairs arpeggios arrowroot arrows artichokes asparagus asteroids asters astrolabes atlases atolls attics aubergines
auctions auroras avalanches aviaries avocados awnings axles azaleas baboons backgammon backpacks badgers badminton
bagels bagpipes balconies ballads ballet balloons balsa bamboo bananas bandanas bandits banjos banknotes banners
banquets baobabs barbecues barges barley barnacles barometers barracudas basalt baseball basements basil baskets
bassoons bathtubs batik bayous bazaars beacons beadwork beagles beans beards beavers beehives beeswax beetles beetroot
begonias belfries bells belts benches berets bergamot bicycles billiards binoculars biographies biology birch birdsong
biscuits bison blackberries blackbirds blackboards blacksmiths blankets blazers blenders blizzards bluebells
blueberries bluegrass blueprints boathouses bobcats bobsleds bonfires bongos bonnets bookcases bookmarks bookshops
boomerangs boots bottles boulders boulevards bouquets bowling bowties boxing bracelets braids bramble brandy brass
breadcrumbs breakwaters brickwork bridges briefcases broccoli bronze brooches brooks brooms broth brownies bubbles
buckets buckles buckwheat buffaloes bugles bulldogs bumblebees bungalows bunting buoys burritos butter buttercups
butterflies buttermilk buttons cabbages cabins cables cacti cairns cakes calculators calendars calipers calligraphy
calypso camels cameos cameras camomile campfires camping canals canaries candles canoes cantatas canvas canyons capers
cappuccino caramel caravans caraway cardamom cardigans caribou caricatures carnations carnivals carousels carp
carpentry carpets carrots cartography cartoons cartwheels casinos casks casseroles castanets castles catamarans
catapults catfish cathedrals cauldrons cauliflowers caves caviar cedars celery cellars cellos cement ceramics cereal
chainsaws chairs chalk chameleons champagne chandeliers chapels charades charcoal chariots charms cheddar cheerleading
cheese cheetahs chemistry cherries chess chestnuts chickadees chickens chickpeas chicory chili chimes chimneys
chimpanzees chinchillas chipmunks chisels chives chocolate choirs chopsticks chrysanthemums chutney cicadas cider
cinnamon circuses citadels clams clarinets clavichords clay cliffs climbing cloaks clocks cloisters clovers cloves
clowns coasters cobblestones cobras cocktails coconuts cod coffee coins collies comedies comets comics compasses
compost concertos condors confetti conifers constellations cookies copper coral cordials coriander corks cormorants
cornbread cornfields cottages cotton cougars couscous cowboys crabs cranberries cranes crater crayons cream creeks
crepes cricket crocodiles crocuses croissants croquet crosswords crows crumpets crypts crystals cuckoos cucumbers
cufflinks cumin cupcakes curling currants curry curtains cushions custard cutlery cymbals cypresses daffodils dahlias
daisies dalmatians damsons dances dandelions darts dates decanters deckchairs deer deltas denim deserts detectives
dewdrops diamonds diaries dictionaries dill dinghies dingoes dinosaurs dioramas diplomas discos diving docks dolls
dolphins domes dominoes donkeys doorbells doormats doughnuts doves downpours dragonflies dragons drawbridges drawers
dreams driftwood dromedaries drums ducks dulcimers dumplings dunes dungarees dungeons dynamos eagles earrings
earthworms earwigs easels echoes eclipses eels eggnog eggplants eggs egrets eiderdown elderflowers elephants elevators
elks elm embers embroidery emeralds emus encyclopedias endives engines envelopes epics equations escalators essays
estuaries etchings etiquette eucalyptus evergreens excavators expeditions explorers fables fairgrounds falafel falcons
fandango fanfares farmhouses feasts feathers fedoras fencing fennel fern ferrets ferries festivals fiddles figs
figurines filigree finches firecrackers fireflies fireplaces fireworks fishing fjords flagpoles flags flamenco
flamingos flannel flapjacks flares flashlights flax fleece flint flippers flounders flour flutes fog folders folklore
fondue football footbridges footstools forests forges forks forts fossils fountains foxes foxgloves foxtrot freesias
frescoes friezes frisbees frogs frost fruitcake fuchsias fudge funfairs funnels furnaces gables galaxies galleons
galleries galoshes garages gardenias gardens gargoyles garlands garlic garnets gates gavottes gazebos gazelles
gazettes geckos gelatine gemstones genealogy geodes geography geology geometry geraniums gerbils geysers gherkins
giants gibbons ginger gingham ginkgo giraffes glaciers gladioli glassware gliders globes gloves glowworms gnomes goats
goblets goblins goggles goldfinches goldfish golf gondolas gongs gooseberries gorges gorillas gourds grammar
gramophones granaries granite granola grapefruits grapes grasshoppers gravel gravy greenhouses greyhounds griddles
grouse guavas guidebooks guinea guitars gulls gumdrops gymnastics gyroscopes haddock haiku hail halibut hallways
hammers hammocks hamsters handball handkerchiefs handstands harbours hares harmonicas harnesses harps harpsichords
harvests hats hawks hawthorn hay hazelnuts headbands headlights hearths heather hedgehogs hedges helicopters helmets
hemlock hens heraldry herbs hermits herons herring hexagons hibiscus hickory hieroglyphs hiking hinges hippopotamuses
hockey holly hollyhocks holograms honey honeycomb honeysuckle hoods hopscotch horizons hornets hornpipes horoscopes
horseradish horses horseshoes hotels hourglasses houseboats huckleberries hummingbirds hummus hurdles hurricanes
hyacinths hydrangeas hyenas hymns ibises ice icebergs icicles icons igloos iguanas illusions impalas incense indigo
inkwells inns insignia iris iron irrigation islands isotopes ivory ivy jackals jackdaws jackets jade jaguars jam
jasmine javelins jays jazz jeans jellies jellyfish jesters jewels jigs jigsaws jodhpurs jogging jokes journals judo
juggling jugs jukeboxes jumpers jungles junipers junks kaftans kale kaleidoscopes kangaroos karaoke karate kayaks
kazoos kebabs keepsakes kennels kestrels ketchup kettles keyboards keychains keyholes keystones khaki kickboxing kilns
kilts kimonos kingfishers kiosks kites kittens kiwis knapsacks knights knitting knots koalas koi kumquats labyrinths
lace lacquer lacrosse ladders ladles ladybirds lagoons lakes lambs lampposts lamps lampshades landslides lanterns
lapwings larch larders larks lasagne lasers lasso lattices laughter laundries laurel lava lavender lawns leather
lectures leeks lemmings lemonade lemons lemurs lentils leopards letters lettuces levers libraries lichens lifeboats
lighthouses lightning lilacs lilies limericks limes limestone limousines linen lions lipstick liquorice lizards llamas
loaves lobsters lockets locomotives locusts logos lollipops looms loons lotuses luggage lullabies lupins lutes lychees
lynxes lyres macadamias macaroni macaroons macaws machetes mackerel magazines magic magma magnets magnifiers magnolias
magpies mahjong mahogany mailboxes mallards mallets malt mammoths manatees mandarins mandolins mangoes mangroves
manors mantises manuscripts maples maps maracas marathons marble margarine marigolds marimbas marinas marionettes
marjoram markets marmalade marmots marquees marshes marshmallows martinis marzipan mascots masks masts matchboxes
mathematics matinees mayonnaise mazes mazurkas meadows meatballs medallions medals medleys meerkats megaphones
melodies melons memoirs menus meringues mermaids metaphors meteors metronomes microphones microscopes midges
milestones milk milkshakes millet millipedes minarets minerals mines miniatures mink minnows minstrels mint minuets
mirages mirrors mistletoe mittens moats mobiles moccasins mohair molasses moles molluscs monasteries mongooses monkeys
monocles monograms monoliths monorails monsoons monuments moonlight moorings moose mopeds mosaics mosques mosses moths
motorboats motorcycles motorways mountaineering mountains mousse moustaches mozzarella muesli muffins mugs mulberries
mules murals museums mushrooms musicals muskets muslin mussels mustangs mustard myrtle mysteries napkins narwhals
nasturtiums navigation nebulas necklaces nectar nectarines needles neon nephews nests nettles newspapers newts
nightingales noodles nougat novels nuggets nutcrackers nutmeg nylon oak oars oases oatmeal oats obelisks oboes
observatories obsidian oceans ocelots octopuses odysseys offices oilcloth okra oleander olives omelettes onions onyx
opals opera optics oranges orangutans orbits orchards orchestras orchids oregano organs origami ornaments ospreys
ostriches otters ottomans ovens overalls overcoats overtures owls oxen oysters paddles paella pagodas paintbrushes
palaces palindromes palms pamphlets pancakes pandas panoramas pansies panthers pantomimes pantries papayas paper
paperclips papyrus parables parachutes parades paraffin parakeets parasols parchment parks parodies parquet parrots
parsley parsnips partridges passports pasta pastels pastries patchwork patios pavements pavilions peaches peacocks
peanuts pearls pears peas pebbles pecans pedals pediments pelicans pencils pendants pendulums penguins peninsulas
pennants peonies peppermint peppers percussion perfumes pergolas periscopes persimmons petals petrels petunias pewter
pheasants philosophy phonographs photographs physics pianos piccolos pickles picnics piers pies pigeons piglets
pilgrimages pillars pillows pinafores pinball pineapples pines pinwheels pipelines piranhas pirates pistachios
pitchers pixels pizza plaid planets planks plankton plasticine plateaus platinum platypuses playgrounds plays plazas
pliers ploughs plovers plumage plums plywood poetry poinsettias polaroids polenta polka polo pomegranates poncho ponds
ponies poodles popcorn poplars poppies porcelain porcupines porpoises porridge portraits postcards posters potatoes
pottery prairies prawns prefaces pretzels primroses printers prisms prologues propellers proverbs prunes puddings
puddles puffins pulleys pullovers pulsars pumpkins puns puppets puppies pyjamas pyramids pythons quails quarries
quartets quartz quasars quays quests quiches quicksand quicksilver quills quilts quinces quinoa quivers quizzes
quotations rabbits raccoons radars radiators radios radishes rafters rafts railways rain rainbows raincoats raisins
ramps ranches rapids raspberries ratatouille rattlesnakes ravens ravines ravioli rayon razors recipes recorders
redwoods reeds reefs refrigerators regattas reindeer relics relish reservoirs restaurants retrievers rhinoceroses
rhododendrons rhubarb rhymes rhythms ribbons rice rickshaws riddles rings rivers rivets roads robins robots rockets
rodeos rooftops rooks roosters ropes rosemary roses rotundas roundabouts rowing rubber rubies rucksacks rudders rugby
rugs ruins rulers rum rumba runes rye sabres saddles safaris saffron sagas sage sailboats salads salamanders salami
salmon salsa salt samba samovars sandals sandcastles sandpaper sandstone sandwiches sapphires sardines saris sashes
satellites satin satire saucepans sauces saunas sausages savannas sawdust sawmills saxophones scaffolding scallions
scallops scarecrows scarves schnapps schooners scissors scones scooters scorpions scrapbooks screwdrivers scribbles
scrolls sculptures scythes seagrass seahorses seals seashells seasons seaweed seesaws semaphores sequins serenades
sesame sewing shadows shale shallots shamrocks shanties sharks shawls sheds sheep sherbet sherry shields shingles
ships shipwrecks shoehorns shoes shortbread shovels shrews shrimps shrines shutters sidecars sieves signposts
silhouettes silk silver singing sitars skateboards skates skeletons sketches skiing skunks skylarks skylights
skyscrapers slate sledges sleepers sleet sleighs slides slingshots slippers sloops sloths slugs smoothies snails
snapdragons sneakers snorkels snow snowboards snowdrops snowflakes snowmen soap soccer sofas softball solitaire
sonatas songs sonnets sorbet sorrel soup spaceships spades spaghetti spaniels sparrows spatulas spears spectacles
spells sphinxes spiders spinach spinets spires sponges spoons spotlights spreadsheets springboards springs sprouts
spruce squares squash squids squirrels stables stadiums stairs stalactites stalagmites stallions stamps starfish
starlings stars stations statues steamers steel steeples stencils stepladders stethoscopes stew stilts stirrups stoats
stockings stools stopwatches stories storks storms stoves strawberries streams streetlights string strudel stucco
submarines subways sudoku suede sugar suitcases sunbeams sundaes sundials sunflowers sunglasses sunrises sunsets
surfing sushi suspenders swallows swamps swans sweaters sweets swimming swings swordfish swords sycamores syllables
symphonies synagogues synthesizers syrup tablecloths tadpoles taffeta tailors tambourines tandems tangerines tango
tapestries tapioca tarragon tartan tarts tassels taverns taxis tea teacups teak teapots teaspoons telegrams telephones
telescopes televisions temples tennis tents terraces terracotta terrapins terriers textiles thatch theatres theorems
thermometers thimbles thistles threads thrillers thrones thrushes thunder thyme tiaras tides tigers tiles tiramisu
toads toadstools toast toboggans toffee tofu tomatoes tombolas tongs topaz topiary torches tornadoes tortillas
tortoises totems toucans tourmalines towels towers toys tractors tragedies trains trampolines transistors trapezes
trays treacle treadmills treasures treehouses trees trellises tricycles trifle tripods trombones trophies trout
trowels truffles trumpets trunks tubas tugboats tulips tuna tundra tunics tunnels turbans turbines turmeric turnips
turnstiles turquoise turrets turtles tuxedos tweed tweezers twilight typewriters ukuleles umbrellas unicorns unicycles
uniforms universities urns utensils valleys vanilla vases vaults vegetables vehicles velvet veneers verandas verbena
vests viaducts videos villages villas vinegar vines vineyards vinyl violas violets violins visors vistas vitamins
vodka volcanoes volleyball voyages vultures waders waffles wagons wagtails waistcoats wallabies wallets wallflowers
wallpaper walnuts walruses waltzes wands wardrobes warehouses warthogs wasabi washbasins wasps watches watchtowers
watercolours watercress waterfalls waterlilies watermelons watermills waterwheels wax weasels weathervanes weaving
websites weddings weevils weirs wellingtons westerns whales wharves wheat wheelbarrows wheels whippets whirlpools
whisks whisky whistles wigs wildflowers willows windmills windows windsocks wine wisteria witches wizards wolverines
wolves wombats woodcuts woodpeckers woodwork wool workbenches workshops worms wreaths wrens wrestling xylophones
yachts yaks yarn yeast yodelling yoga yoghurt yurts zebras zeppelins zinc zinnias zippers zircons zithers zodiacs
zucchini
"""

_FIRST_NAMES = """
Adela Agnes Albin Aldo Alina Alvar Amina Anders Anika Anselm Antje Arnaud Asta Astrid Aurel Bastian Beata Benno
Bettina Birgit Bjorn Bogdan Bruno Carina Carlo Cecile Celia Ciara Clemens Corin Dagmar Damien Danica Dario Davor
Deirdre Dmitri Dorian Edda Edgar Eileen Elias Elina Emeric Enzo Erik Esme Estelle Ewan Fabian Farid Fatima Felix Fiona
Florian Franka Fritz Gareth Gemma Georg Gerda Gilles Giulia Goran Greta Gudrun Gustav Hamid Hanna Harald Hedda Heiko
Helga Henrik Hugo Ida Ignaz Ilse Imre Inga Ingo Ioana Irena Isolde Ivan Jacek Jakob Janis Jarek Joan Jonas Judith
Jurgen Kamil Karim Karin Kasper Katja Klaus Konrad Kristof Lars Leila Lena Leon Linnea Lorenz Lotte Ludwig Magda Marek
Maren Marta Matteo Milan Mira Nadia Niels Nora Odile Olaf Otto Pavel Petra Quentin Rafael Renate Roland Rufus Sabine
Selma Silvia Soren Tamara Tilda Tobias Ulrike Ursula Valentin Vera Viktor Walter Wanda Xenia Yann Yvonne Zoltan
"""

_LAST_NAMES = """
Abbott Ackerman Adler Albrecht Aldana Amundsen Andrade Arendt Baines Balogh Barlow Bartok Becker Bellamy Bergman
Bianchi Blake Boateng Bondar Borges Brandt Brennan Bruckner Calloway Campbell Carver Castellan Cermak Chandra Conti
Corrigan Cortez Dalgaard Danso Delacroix Demir Dietrich Dolan Donato Doyle Draper Duarte Dvorak Eckhart Egan Eklund
Engel Esposito Fairfax Falk Farkas Ferrari Fischer Forsberg Fournier Frasier Galvin Garnier Gerber Gibson Goethals
Goodwin Granger Gruber Haas Hagen Halloran Hartmann Hasek Hendricks Hoffman Horvath Huber Iversen Jansen Jenkins
Jimenez Kallas Kaminski Karlsson Keller Kessler Kiraly Klein Kovac Kruger Lambert Lang Larsen Laurent Leblanc
Lindqvist Lombard Lowell Lucas Madsen Malik Marchetti Mercer Meyer Molnar Moreau Morrow Navarro Nemeth Nilsson Novak
Oduya Okafor Olsen Orban Ortega Osborne Palmer Paquette Pereira Pettersen Popescu Quaranta Quigley Ramos Rasmussen
Reyes Richter Rinaldi Romano Rossi Sandoval Santos Schneider Seidel Silva Sokolov Sorensen Steiner Strand Svoboda
Szabo Takacs Tanner Thorsen Toth Turner Ulrich Urbina Valdez Varga Vogel Wagner Weiss Whitlock Winters Yilmaz Zapata
Zeller Ziegler
"""

ITEMS: tuple[str, ...] = tuple(_ITEMS.split())
"""Things to like; plural where they can be counted."""

FIRST_NAMES: tuple[str, ...] = tuple(_FIRST_NAMES.split())
LAST_NAMES: tuple[str, ...] = tuple(_LAST_NAMES.split())
