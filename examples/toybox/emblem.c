/* Emblems: the list of names, what each looks like, and how it is painted. */
#include "emblem.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

const char *const toy_parting_names[TOY_PARTINGS] = {"per pale", "per fess", "quarterly", "bend", "bordered"};

/* 40 x 40 names. First syllables end in a consonant, second ones begin with one and hold one vowel, so no two are
 * alike. */
static const char *const first_syllables[] = {"Kel", "Bran", "Dor", "Fen", "Gal",  "Har", "Ith", "Jun", "Kor", "Lum",
                                              "Mar", "Nev",  "Ol",  "Per", "Quil", "Ros", "Sel", "Tam", "Ul",  "Ver",
                                              "Wil", "Yar",  "Zan", "Ash", "Bel",  "Cor", "Dun", "El",  "Fal", "Grim",
                                              "Hol", "Is",   "Jas", "Kin", "Lor",  "Mir", "Nor", "Os",  "Pel", "Rav"};
static const char *const second_syllables[] = {
    "mor",  "dan", "vik",  "gard", "bek",  "ton",  "wyn",   "dell", "fax", "rik",  "nath", "bor",  "cus", "den",
    "fir",  "gol", "hem",  "jor",  "kan",  "lis",  "mund",  "nok",  "pas", "quen", "rus",  "sted", "tir", "vash",
    "wick", "zel", "bryn", "dux",  "fell", "gant", "hurst", "ket",  "lod", "mek",  "pont", "sul"};

static const uint64_t emblem_stream = 0x656D626C656D;
static const double disc_radius = 0.36, inner_radius = 0.26, charge_radius = 0.13;

void toy_emblem_name(int number, char *name) {
    snprintf(name, TOY_NAME_SIZE, "%s%s", first_syllables[number / TOY_SYLLABLES],
             second_syllables[number % TOY_SYLLABLES]);
}

static const char *const onsets[] = {"b",  "c",  "d",  "f",  "g",  "h",  "j",  "k",  "l",  "m",  "n",  "p",
                                     "r",  "s",  "t",  "v",  "w",  "z",  "br", "ch", "cr", "dr", "fl", "gr",
                                     "kr", "pr", "sh", "st", "th", "tr", "",   "qu", "sk", "sl", "bl", "gl"};
static const char *const vowels[] = {"a", "e", "i", "o", "u", "y", "ae", "ei", "ou", "ia"};
static const char *const codas[] = {"",  "",  "",  "n", "r",  "l",  "s",  "m",  "k",  "t", "d",
                                    "x", "g", "p", "v", "nd", "rk", "st", "ll", "th", "sk"};

static int pick(toy_random *random, size_t count) {
    return toy_random_below(random, (int)count);
}

/* Appends a syllable to a name of `length` letters and tells the new length. */
static size_t add_syllable(toy_random *random, char *name, size_t length) {
    length += (size_t)snprintf(
        name + length, TOY_NAME_SIZE - length, "%s%s%s", onsets[pick(random, sizeof onsets / sizeof *onsets)],
        vowels[pick(random, sizeof vowels / sizeof *vowels)], codas[pick(random, sizeof codas / sizeof *codas)]);
    return length < TOY_NAME_SIZE ? length : TOY_NAME_SIZE - 1;
}

void toy_invent_name(toy_random *random, char *name) {
    const int syllables = toy_random_below(random, 5) ? 2 : 3;
    size_t length = 0;
    for (int i = 0; i < syllables; i++) length = add_syllable(random, name, length);
    name[0] = (char)(name[0] - 'a' + 'A');
}

void toy_family_name(toy_random family, int member, char *name) {
    char part[2][3][TOY_NAME_SIZE];
    for (int side = 0; side < 2; side++) {
        for (int i = 0; i < 3; i++) {
            size_t length = 0;
            part[side][i][0] = '\0';
            while (length < 2) length = add_syllable(&family, part[side][i], 0);
        }
        /* The third differs from the first by its last letter alone. */
        memcpy(part[side][2], part[side][0], TOY_NAME_SIZE);
        part[side][2][strlen(part[side][2]) - 1] = "aeiouklmnrstv"[pick(&family, 13)];
    }
    snprintf(name, TOY_NAME_SIZE, "%.7s%.7s", part[0][member % 3], part[1][member / 3 % 3]);
    name[0] = (char)(name[0] - 'a' + 'A');
}

bool toy_name_in_training(const char *name) {
    return XXH64(name, strlen(name), 0) % 5 != 0;
}

/* White would melt into the grey background, so it is not where the disc's edge is. */
static bool is_allowed(const toy_emblem *e) {
    if (e->first == e->second || e->charge_colour == e->first || e->charge_colour == e->second) return false;
    if (e->first == TOY_WHITE) return false;
    return e->second != TOY_WHITE || e->parting == TOY_BORDERED;
}

toy_emblem toy_draw_emblem(toy_random *random) {
    toy_emblem e;
    do {
        e.parting = toy_random_below(random, TOY_PARTINGS);
        e.first = toy_random_below(random, TOY_COLOURS);
        e.second = toy_random_below(random, TOY_COLOURS);
        e.charge = toy_random_below(random, TOY_SHAPES);
        e.charge_colour = toy_random_below(random, TOY_COLOURS);
    } while (!is_allowed(&e));
    return e;
}

toy_emblem toy_emblem_of(uint64_t seed, const char *name) {
    toy_random random = toy_random_make(seed, emblem_stream, XXH64(name, strlen(name), 0));
    return toy_draw_emblem(&random);
}

int toy_emblem_part(int parting, double x, double y) {
    double d = x * x + y * y;
    if (d > disc_radius * disc_radius) return 0;
    switch (parting) {
    case TOY_PER_PALE:
        return x < 0 ? 1 : 2;
    case TOY_PER_FESS:
        return y < 0 ? 1 : 2;
    case TOY_QUARTERLY:
        return (x < 0) == (y < 0) ? 1 : 2;
    case TOY_BEND:
        return y < x ? 1 : 2;
    default:
        return d > inner_radius * inner_radius ? 1 : 2;
    }
}

static void paint_pixel(uint8_t *pixel, const toy_rgb colours[3], int parting, double x, double y, double step) {
    enum { SAMPLES = 8 };
    int sum[3] = {0, 0, 0};
    for (int i = 0; i < SAMPLES * SAMPLES; i++) {
        double sx = x + step * (i % SAMPLES + 0.5) / SAMPLES, sy = y + step * (i / SAMPLES + 0.5) / SAMPLES;
        toy_rgb c = colours[toy_emblem_part(parting, sx, sy)];
        sum[0] += c.r;
        sum[1] += c.g;
        sum[2] += c.b;
    }
    for (int i = 0; i < 3; i++) pixel[i] = (uint8_t)((sum[i] + SAMPLES * SAMPLES / 2) / (SAMPLES * SAMPLES));
}

void toy_paint_emblem(toy_picture *picture, const toy_emblem *e) {
    const toy_rgb colours[3] = {toy_backgrounds[TOY_GREY], toy_colours[e->first], toy_colours[e->second]};
    int side = picture->side;
    double step = 1.0 / side;
    for (int row = 0; row < side; row++) {
        for (int column = 0; column < side; column++) {
            double x = column * step - 0.5, y = row * step - 0.5;
            uint8_t *pixel = &picture->pixels[3 * ((size_t)row * (size_t)side + (size_t)column)];
            /* Parts are wider than a pixel: four corners in one part mean the whole pixel is. */
            int part = toy_emblem_part(e->parting, x, y);
            if (toy_emblem_part(e->parting, x + step, y) == part && toy_emblem_part(e->parting, x, y + step) == part &&
                toy_emblem_part(e->parting, x + step, y + step) == part) {
                pixel[0] = colours[part].r;
                pixel[1] = colours[part].g;
                pixel[2] = colours[part].b;
            } else {
                paint_pixel(pixel, colours, e->parting, x, y, step);
            }
        }
    }
    toy_draw_shape(picture, e->charge, 0.5, 0.5, charge_radius, toy_colours[e->charge_colour], false);
}
