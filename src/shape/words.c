/*
 * words.c
 *		Lists of words that pseudonyms are made of.
 *
 * Made here, of common words and names in ASCII, so that any encoding has them.
 * A word that is added or taken away gives other pseudonyms to nearly all values:
 * what has been copied must be copied again.
 */
#include "postgres.h"

#include "shape/words.h"

/* 214 first names */
const char *const flo_first_names[] = {
	"Ada", "Adam", "Agnes", "Aileen", "Alan", "Alba", "Alex", "Alice", "Alina", "Alma",
	"Amara", "Amir", "Amy", "Ana", "Andre", "Anja", "Anna", "Anton", "Aria", "Arno", "Astrid",
	"Aurel", "Axel", "Basil", "Bea", "Ben", "Berta", "Bianca", "Boris", "Bruno", "Carl",
	"Carla", "Carmen", "Cecil", "Celia", "Clara", "Claude", "Clemens", "Cora", "Daan", "Dana",
	"Daria", "David", "Dean", "Delia", "Diana", "Dora", "Edgar", "Edith", "Elena", "Eli",
	"Elias", "Elif", "Ella", "Emil", "Emma", "Enid", "Eric", "Esra", "Esther", "Eva", "Fabian",
	"Fay", "Felix", "Fiona", "Flora", "Frank", "Frida", "Gabriel", "Gerda", "Gina", "Grace",
	"Greta", "Gustav", "Hana", "Hannah", "Harry", "Hazel", "Heidi", "Helen", "Henry", "Hilda",
	"Hugo", "Ian", "Ida", "Igor", "Ines", "Ingrid", "Irene", "Iris", "Isaac", "Ivan", "Ivy",
	"Jack", "Jakob", "Jana", "Jane", "Jasmin", "Jay", "Joan", "Joel", "John", "Jonas", "Josef",
	"Judith", "Jules", "Julia", "June", "Kai", "Kara", "Karen", "Karim", "Kate", "Kim",
	"Klara", "Lars", "Laura", "Lea", "Lena", "Leo", "Leon", "Lily", "Linda", "Linus", "Lisa",
	"Liv", "Lola", "Lorenz", "Lucas", "Lucy", "Luis", "Luna", "Lydia", "Malik", "Manon",
	"Mara", "Marco", "Maria", "Mark", "Marta", "Martin", "Mary", "Maya", "Mel", "Mia", "Milan",
	"Mina", "Mira", "Mona", "Moritz", "Nadia", "Naomi", "Nick", "Nina", "Noah", "Nora", "Olaf",
	"Olga", "Oliver", "Omar", "Oscar", "Otto", "Pablo", "Pam", "Paul", "Paula", "Peter",
	"Petra", "Pia", "Quinn", "Rafael", "Ralph", "Ramon", "Rania", "Rebecca", "Rita", "Robert",
	"Robin", "Rosa", "Ruby", "Ruth", "Sam", "Samira", "Sara", "Sean", "Selma", "Simon",
	"Sofia", "Stella", "Sven", "Tamara", "Tara", "Theo", "Thomas", "Tilda", "Tina", "Tom",
	"Ulla", "Uma", "Ursula", "Valerie", "Vera", "Victor", "Vida", "Viola", "Walter", "Wanda",
	"Will", "Xenia", "Yara", "Yusuf", "Yvonne", "Zara", "Zoe"
};
const int	flo_first_names_count = lengthof(flo_first_names);

/* 250 last names */
const char *const flo_last_names[] = {
	"Abbott", "Acker", "Adler", "Ahmed", "Albrecht", "Allen", "Alvarez", "Amsel", "Anders",
	"Archer", "Arnold", "Ashby", "Bach", "Baker", "Barnes", "Bauer", "Baum", "Becker", "Bell",
	"Bennett", "Berger", "Bishop", "Blake", "Bloom", "Bond", "Bosch", "Brandt", "Braun",
	"Brook", "Brown", "Buchner", "Burke", "Busch", "Byrne", "Cain", "Carter", "Castro", "Chan",
	"Clark", "Cole", "Conrad", "Cook", "Cooper", "Costa", "Craig", "Cruz", "Curtis", "Dahl",
	"Dale", "Daly", "Davis", "Dean", "Decker", "Diaz", "Dietz", "Dixon", "Dorn", "Drake",
	"Duarte", "Dunn", "Ebert", "Eckert", "Eder", "Ellis", "Engel", "Ernst", "Evans", "Faber",
	"Falk", "Farmer", "Fink", "Fischer", "Fisher", "Flynn", "Forster", "Fox", "Frank", "Franz",
	"Frey", "Fuchs", "Fuller", "Garcia", "Gardner", "Geiger", "Gibson", "Glass", "Gomez",
	"Gordon", "Graf", "Grant", "Gray", "Green", "Gross", "Gruber", "Haas", "Hahn", "Hale",
	"Hall", "Hansen", "Harper", "Hart", "Haupt", "Hayes", "Heller", "Henry", "Herzog", "Hess",
	"Hill", "Hofer", "Hoffman", "Holm", "Holt", "Hopkins", "Horn", "Huber", "Hughes", "Hunt",
	"Ito", "Jacobs", "James", "Jansen", "Jensen", "Jones", "Jordan", "Jung", "Kaiser", "Kane",
	"Karlsson", "Keller", "Kelly", "Kern", "Khan", "King", "Klein", "Knight", "Koch", "Kolb",
	"Kraft", "Kramer", "Krause", "Kuhn", "Kumar", "Lambert", "Lang", "Larsen", "Lee",
	"Lehmann", "Lenz", "Lewis", "Lind", "Long", "Lopez", "Lorenz", "Ludwig", "Maier", "Marsh",
	"Martin", "Marx", "Mason", "Meyer", "Miller", "Mills", "Moore", "Morgan", "Moser",
	"Murphy", "Nagel", "Nash", "Nelson", "Neumann", "Nolan", "Novak", "Olsen", "Ortega",
	"Otto", "Owen", "Palmer", "Parker", "Paulsen", "Perez", "Peters", "Pfeiffer", "Pohl",
	"Pope", "Porter", "Powell", "Quinn", "Ramos", "Reed", "Reich", "Reyes", "Rice", "Richter",
	"Rivera", "Roberts", "Rose", "Roth", "Russo", "Ryan", "Sander", "Santos", "Sauer",
	"Schmidt", "Scholz", "Schulz", "Scott", "Seidel", "Shah", "Shaw", "Simon", "Singh",
	"Smith", "Sommer", "Stark", "Stein", "Stone", "Strauss", "Suarez", "Tanaka", "Taylor",
	"Thoma", "Torres", "Tucker", "Turner", "Ullrich", "Vance", "Vargas", "Vogel", "Vogt",
	"Wagner", "Walker", "Walsh", "Ward", "Weaver", "Weber", "Weiss", "Wells", "Werner", "West",
	"White", "Winter", "Wolf", "Wood", "Wright", "Yang", "York", "Young", "Zander", "Ziegler",
	"Zimmer"
};
const int	flo_last_names_count = lengthof(flo_last_names);

/* 100 towns that are nowhere */
const char *const flo_cities[] = {
	"Ashford", "Barrow", "Birchfield", "Blackwater", "Bramley", "Bridgeton", "Brookdale",
	"Castleton", "Cedarville", "Clayton", "Cliffside", "Coldbrook", "Crestwood", "Dalebury",
	"Deerfield", "Dunmore", "Eastbrook", "Edgewater", "Elmhurst", "Fairview", "Fallbrook",
	"Fernhill", "Foxbury", "Glenview", "Goldcrest", "Grangemouth", "Greenport", "Hallstead",
	"Hamwick", "Harborne", "Hartfield", "Hazelton", "Highmoor", "Hillford", "Holmbury",
	"Ironbridge", "Kelford", "Kingsmoor", "Lakeview", "Langdale", "Larkhill", "Leafield",
	"Lindenau", "Longmeadow", "Maplewood", "Marlow", "Meadowbank", "Millbrook", "Moorgate",
	"Mossley", "Newbridge", "Northfield", "Norwood", "Oakham", "Oldcastle", "Orchard",
	"Oxbridge", "Pinehurst", "Portmere", "Quarrydale", "Ravenswood", "Redcliff", "Ridgeway",
	"Riverton", "Rockford", "Rosedale", "Rushmere", "Saltford", "Sandwell", "Seabrook",
	"Shelford", "Silverton", "Southmoor", "Springdale", "Stanbridge", "Steinach", "Stonebury",
	"Summerhill", "Sunfield", "Swanmore", "Tannenberg", "Thornbury", "Timberlake", "Underhill",
	"Valebrook", "Wakefield", "Waldheim", "Walford", "Westbourne", "Westport", "Whitby",
	"Wildwood", "Willowdale", "Windmere", "Winterbourne", "Wolfsbach", "Woodbury", "Wynford",
	"Yarmouth", "Zellbach"
};
const int	flo_cities_count = lengthof(flo_cities);

/* 108 names of streets */
const char *const flo_streets[] = {
	"Acorn", "Alder", "Ash", "Aspen", "Badger", "Bay", "Beech", "Birch", "Bluebell", "Bridge",
	"Brook", "Castle", "Cedar", "Chapel", "Cherry", "Chestnut", "Church", "Clover", "Copper",
	"Cypress", "Daisy", "Dove", "Eagle", "Elder", "Elm", "Falcon", "Fern", "Field", "Finch",
	"Fir", "Forest", "Fox", "Garden", "Grove", "Harbour", "Hawthorn", "Hazel", "Heron", "High",
	"Hill", "Holly", "Iris", "Ivy", "Jasmine", "Juniper", "Kestrel", "Kiln", "Lake", "Larch",
	"Laurel", "Lavender", "Lilac", "Lime", "Linden", "Lower", "Magnolia", "Main", "Maple",
	"Market", "Meadow", "Mill", "Mint", "Moss", "New", "North", "Oak", "Orchard", "Osprey",
	"Otter", "Park", "Pear", "Pine", "Plum", "Pond", "Poplar", "Primrose", "Quarry", "Queen",
	"Reed", "Ridge", "River", "Robin", "Rose", "Rowan", "Sage", "School", "South", "Sparrow",
	"Spring", "Spruce", "Station", "Stone", "Swallow", "Swan", "Thistle", "Tulip", "Upper",
	"Valley", "Violet", "Walnut", "Water", "Well", "West", "Willow", "Windmill", "Wood",
	"Wren", "Yew"
};
const int	flo_streets_count = lengthof(flo_streets);

/* 12 kinds of streets */
const char *const flo_street_kinds[] = {
	"Avenue", "Close", "Court", "Drive", "Lane", "Place", "Road", "Square", "Street",
	"Terrace", "Walk", "Way"
};
const int	flo_street_kinds_count = lengthof(flo_street_kinds);

/* 64 first words of companies */
const char *const flo_company_names[] = {
	"Amber", "Apex", "Arctic", "Argo", "Atlas", "Aurora", "Azure", "Bold", "Bright", "Cobalt",
	"Coral", "Crown", "Crystal", "Delta", "Dynamic", "Echo", "Ember", "First", "Global",
	"Golden", "Grand", "Green", "Harbor", "Horizon", "Indigo", "Iron", "Ivory", "Jade",
	"Keystone", "Lunar", "Magna", "Meridian", "Metro", "Modern", "Noble", "Nordic", "Nova",
	"Ocean", "Omega", "Onyx", "Opal", "Orion", "Pacific", "Pearl", "Pioneer", "Polar", "Prime",
	"Quantum", "Rapid", "Royal", "Scarlet", "Silver", "Solar", "Sterling", "Summit", "Terra",
	"Titan", "Tri", "Union", "United", "Urban", "Vertex", "Vital", "Zenith"
};
const int	flo_company_names_count = lengthof(flo_company_names);

/* 64 second words of companies */
const char *const flo_company_trades[] = {
	"Analytics", "Apparel", "Bakery", "Brands", "Builders", "Capital", "Ceramics", "Chemicals",
	"Consulting", "Control", "Data", "Design", "Devices", "Digital", "Dynamics", "Electric",
	"Energy", "Engines", "Farms", "Finance", "Foods", "Freight", "Furniture", "Glass",
	"Health", "Holding", "Imports", "Industries", "Instruments", "Insurance", "Labs",
	"Leather", "Lighting", "Logistics", "Machines", "Marine", "Materials", "Media", "Metals",
	"Mining", "Motors", "Networks", "Optics", "Paper", "Partners", "Plastics", "Power",
	"Press", "Print", "Robotics", "Security", "Services", "Shipping", "Software", "Steel",
	"Storage", "Supply", "Systems", "Textiles", "Tools", "Toys", "Trading", "Travel", "Water"
};
const int	flo_company_trades_count = lengthof(flo_company_trades);

/* 5 forms of companies */
const char *const flo_company_forms[] = {
	"Co", "Corp", "Group", "Inc", "Ltd"
};
const int	flo_company_forms_count = lengthof(flo_company_forms);
