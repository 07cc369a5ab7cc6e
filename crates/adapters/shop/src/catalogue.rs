//! What the shop sells: a fixed list. It knows neither stock nor customers.

/// Something to buy.
#[derive(Debug, PartialEq)]
pub(crate) struct Product {
    pub(crate) sku: &'static str,
    pub(crate) description: &'static str,
    /// Of one, tax included.
    pub(crate) price_pence: u32,
    /// What the customer's print file has to be like; absent: nothing is printed on it.
    pub(crate) print: Option<Print>,
    /// How many a customer takes at most.
    pub(crate) quantity_max: u32,
    /// How often it is chosen, beside the others.
    pub(crate) popularity: u32,
}

/// The print file that a product needs.
#[derive(Debug, PartialEq)]
pub(crate) struct Print {
    pub(crate) width_mm: u32,
    pub(crate) height_mm: u32,
    pub(crate) bleed_mm: u32,
    pub(crate) pages: u32,
}

pub(crate) static PRODUCTS: [Product; 12] = [
    printed("CARD-85X55", "Business cards, 250", 2400, paper(85, 55, 2), 4, 9),
    printed("FLYER-A6", "Flyers A6, 500", 3950, paper(105, 148, 2), 3, 7),
    printed("POSTER-A2", "Poster A2, matt", 1250, paper(420, 594, 1), 5, 8),
    printed("POSTCARD-A6", "Postcards, 50", 1890, paper(148, 105, 2), 3, 5),
    printed(
        "BROCHURE-A4",
        "Brochure A4, 16 pages, 100",
        18900,
        paper(210, 297, 16),
        1,
        2,
    ),
    printed("STICKER-50", "Round stickers, 100", 1495, paper(50, 50, 1), 4, 6),
    printed(
        "CANVAS-60X40",
        "Canvas on a frame, 60 × 40 cm",
        3499,
        paper(600, 400, 1),
        2,
        3,
    ),
    printed("MUG-330", "Photo mug, 330 ml", 1199, cloth(210, 90), 6, 8),
    printed(
        "TOTE-COTTON",
        "Tote bag, organic cotton",
        1450,
        cloth(280, 300),
        5,
        7,
    ),
    printed("TSHIRT-WHITE", "T-shirt, white", 1999, cloth(300, 400), 4, 5),
    plain("FRAME-A2", "Picture frame A2, oak", 2750, 2, 3),
    plain("SAMPLES-PAPER", "Paper sample book", 500, 1, 2),
];

const fn printed(
    sku: &'static str,
    description: &'static str,
    price_pence: u32,
    print: Print,
    quantity_max: u32,
    popularity: u32,
) -> Product {
    Product {
        sku,
        description,
        price_pence,
        print: Some(print),
        quantity_max,
        popularity,
    }
}

const fn plain(
    sku: &'static str,
    description: &'static str,
    price_pence: u32,
    quantity_max: u32,
    popularity: u32,
) -> Product {
    Product {
        sku,
        description,
        price_pence,
        print: None,
        quantity_max,
        popularity,
    }
}

/// Cut after printing, hence with bleed.
const fn paper(width_mm: u32, height_mm: u32, pages: u32) -> Print {
    Print {
        width_mm,
        height_mm,
        bleed_mm: 3,
        pages,
    }
}

/// Printed on what has its shape already.
const fn cloth(width_mm: u32, height_mm: u32) -> Print {
    Print {
        width_mm,
        height_mm,
        bleed_mm: 0,
        pages: 1,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_product_can_be_told_apart_and_sold() {
        let skus: HashSet<_> = PRODUCTS.iter().map(|product| product.sku).collect();
        assert_eq!(skus.len(), PRODUCTS.len());
        for product in &PRODUCTS {
            assert!(product.price_pence > 0 && product.quantity_max > 0 && product.popularity > 0);
        }
    }
}
