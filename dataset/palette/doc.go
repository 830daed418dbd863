// Package palette scores how near a picture comes to a brand's colours.
//
// Purpose: the demo's judge. It compares pictures of the tuned and the base model by colour alone
// and knows nothing of what they show.
//
// Invariants: a score is at most 0, and 0 only for a picture that wears the palette's colours and
// nothing else, each over at least its share; pixels' places do not matter.
//
// Source: CIE 15:2004 for CIELAB and its difference ΔE*ab; IEC 61966-2-1 for sRGB.
package palette
