//! Foreign: the phrases of hosts that speak German, French, Spanish, Italian, Portuguese, Dutch or Polish. Accents are folded
//! before they are looked for; German umlauts stand as `ae` or as the bare vowel.

use super::Topic;

/// Phrases with one meaning, in the notation of `phrases`.
pub(super) const CLEAR: &[(Topic, &[&str])] = &[
    (
        Topic::Greylist,
        &["liste|listes grise|grises", "lista|listas gris|grises|grigia|cinza|cinzenta", "graue liste", "grijze lijst"],
    ),
    (
        Topic::AuthRequired,
        &[
            "anmeldung|authentifizierung|authentisierung .. erforderlich|notwendig|benotigt|benoetigt|noetig|notig",
            "authentification .. requise|necessaire|obligatoire",
            "autenticacion|autentificacion .. requerida|necesaria|obligatoria",
            "autenticazione .. richiesta|necessaria|obbligatoria",
            "autenticacao .. necessaria|requerida|obrigatoria",
            "authenticatie .. vereist|nodig",
            "uwierzytelnienie|autoryzacja .. wymagan*",
        ],
    ),
    (
        Topic::TlsRequired,
        &[
            "verschlusselung|verschluesselung|tls|starttls .. erforderlich|notwendig|benotigt|benoetigt|verlangt|pflicht",
            "unverschlusselt*|unverschluesselt* .. nicht|abgelehnt|abgewiesen",
            "tls|starttls|chiffrement .. requis|requise|obligatoire|necessaire",
            "tls|starttls|cifrado|encriptacion .. requerid*|necesari*|obligatori*",
            "tls|starttls|cifratura|crittografia .. richiest*|necessari*|obbligatori*",
        ],
    ),
    (
        Topic::BlockList,
        &[
            "sperrliste*|blockliste*|schwarze|schwarzen liste|blacklist*",
            "ip|adresse|server|host .. gesperrt|blockiert|geblockt",
            "liste|listes noire|noires",
            "ip|adresse|serveur .. bloque*|bloquee|blackliste*",
            "lista|listas negra|negras|nera|nere",
            "ip|direccion|servidor|indirizzo|endereco .. bloquead*|bloccato|bloccata",
            "zwarte lijst",
            "czarn* list*",
        ],
    ),
    (
        Topic::Connections,
        &[
            "zu viele|viel .. verbindung*",
            "trop de .. connexion*",
            "demasiad* .. conexion*",
            "troppe|troppi .. connession*",
            "muitas .. conexoes|ligacoes",
            "te veel .. verbinding*",
            "zbyt wiele|duzo .. polaczen",
        ],
    ),
    (
        Topic::Rate,
        &[
            "zu viele|schnell .. nachrichten|mails|emails|anfragen",
            "trop de .. messages|mails|courriels|requetes",
            "demasiad* .. mensajes|correos",
            "troppi|troppe .. messaggi|email|mail",
            "muitas|muitos|demasiad* .. mensagens|emails",
            "te veel .. berichten",
            "zbyt wiele|duzo .. wiadomosci",
        ],
    ),
    (
        Topic::Recipients,
        &[
            "zu viele .. empfanger*|empfaenger*",
            "trop de .. destinataire*",
            "demasiad* .. destinatari*",
            "troppi .. destinatari",
            "muitos .. destinatarios",
            "te veel .. ontvanger*",
            "zbyt wielu|wiele|duzo .. odbiorcow|adresatow",
        ],
    ),
    (
        Topic::Quota,
        &[
            "postfach|mailbox|mailkonto|konto|speicherplatz|kontingent .. voll|uberschritten|ueberschritten|erschopft|erschoepft|ausgeschopft|ausgeschoepft",
            "volles postfach",
            "boite|quota .. plein|pleine|depasse|depassee|sature|saturee",
            "buzon|cuota|bandeja|cuenta .. llen*|excedid*|superad*",
            "casella|quota .. piena|superata|esaurita|superato",
            "caixa|cota|quota .. chei*|excedid*|esgotad*",
            "postvak|postbus|mailbox .. vol|overschreden",
            "skrzynka .. pelna|przepelniona|przekroczon*",
        ],
    ),
    (
        Topic::MessageSize,
        &[
            "nachricht|mail|email|nachrichtengrosse|nachrichtengroesse|anhang .. zu gross|gros|grosse",
            "message|courriel|taille .. trop grand|grande|gros|grosse|volumineux|importante",
            "mensaje|correo|tamano .. demasiado|excede|supera grande|limite|maximo|el",
            "messaggio|dimension* .. troppo|supera grande|limite|il",
            "mensagem|tamanho .. muito|excede|demasiado grande|limite|o",
            "bericht .. te groot",
        ],
    ),
    (
        Topic::Storage,
        &[
            "kein|zu wenig|nicht genug|genugend|genuegend .. speicherplatz|plattenplatz",
            "festplatte|platte .. voll",
            "espace disque|stockage .. insuffisant|plein",
            "espacio .. insuficiente|disco",
        ],
    ),
    (
        Topic::RelayDenied,
        &[
            "weiterleitung|weiterleiten|relay*|relaying .. nicht|verweigert|verboten|abgelehnt|untersagt",
            "relais|relayage .. refuse*|interdit*|autorise*",
            "retransmision|reenvio|relay .. denegad*|permitid*|prohibid*",
            "inoltro|relay .. negato|consentito|vietato",
        ],
    ),
    (
        Topic::NoSuchUser,
        &[
            "benutzer|empfanger*|empfaenger*|mailbox|postfach|konto|adresse|mailadresse|nutzer|adressat .. unbekannt*|existiert|ungultig*|ungueltig*|unzustellbar*|deaktiviert|vorhanden|bekannt|gefunden",
            "unbekannte|unbekannter|kein|keine|ungultige|ungueltige|ungultiger .. benutzer|empfanger*|empfaenger*|mailbox|postfach|adresse|nutzer|konto",
            "utilisateur|destinataire|adresse|boite|compte .. inconnu|inconnue|inexistant|inexistante|invalide|existe|desactive|trouve|trouvee",
            "usuario|destinatario|buzon|cuenta|direccion .. desconocid*|inexistente|existe|invalid*|desactivad*|encontrad*",
            "utente|destinatario|casella|indirizzo|account .. sconosciut*|inesistente|esiste|trovato|valido|disattivat*",
            "conta|caixa|endereco|utilizador .. desconhecid*|inexistente|existe|invalid*|encontrad*",
            "gebruiker|ontvanger|adres|postvak .. onbekend|onbekende|bestaat|ongeldig",
            "uzytkownik|odbiorca|adresat|skrzynka|konto .. nieznany|nieznana|istnieje|nieprawidlow*",
        ],
    ),
    (
        Topic::Content,
        &[
            "als spam|unerwunscht|unerwuenscht|werbung|virus",
            "spamverdacht|spamfilter|spamschutz",
            "pourriel*|indesirable*",
            "correo no deseado",
            "virus .. gefunden|enthalten|detecte|detectado|encontrado|rilevato",
            "considerad* .. spam",
        ],
    ),
];

/// Phrases that are used for several things.
pub(super) const VAGUE: &[(Topic, &[&str])] = &[(
    Topic::Busy,
    &[
        "spater|spaeter .. versuch*|erneut|nochmal|wieder",
        "versuch* .. spater|spaeter|erneut",
        "uberlastet|ueberlastet",
        "reessaye*|ressaye* .. tard|ulterieurement|minutes",
        "intent*|reintent* .. tarde|luego|minutos",
        "riprova*|ritenta* .. tardi|minuti",
        "tente .. tarde|novamente",
        "probeer .. later|opnieuw",
        "sprobuj .. pozniej|ponownie",
    ],
)];
